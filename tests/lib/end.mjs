// A test that failed half-way may have left a socket open, a stream that connects again, a
// listener. When all tests of a file are through, nothing that is left keeps the runner waiting.
import { after } from 'node:test';

after(() => {
  setTimeout(() => {
    console.log(`something is left open: ${process.getActiveResourcesInfo().join(', ')}`);
    process.exit();
  }, 5000).unref();
});
