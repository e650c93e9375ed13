/* A worker without an engine: it does what the recording tells it to.
 *
 *     windows N     N windows, one segment each, then the end
 *     slow N        the same with a short pause after each, and it listens to a
 * cancellation crash N       dies in its first N attempts, then as "windows 2" stumble N
 * one window per attempt, then it dies; the Nth attempt finishes hang          never says
 * a word again, not even when it is told to stop garbage       sends what is no message
 *     foreign       speaks of another job
 *     backwards     sends a window that begins before the last
 *     fail          says that the file is no audio
 *     umlauts       fails for a long reason of two-byte letters
 *     quit          closes its socket and goes on running
 */
#ifndef FAKE_WORKER_H
#define FAKE_WORKER_H

int fake_worker(int fd);

#endif
