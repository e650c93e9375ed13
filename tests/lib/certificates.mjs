// A certificate authority of a test, and what it vouches for.
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { tempFolder } from './server.mjs';

const openssl = (folder, ...args) => execFileSync('openssl', args, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

/**
 * A certificate for a name, as long-lived and of the kind that Let's Encrypt gives:
 * {authority, certificate, key} are paths, `ca` is the authority's text.
 */
export function certify(name, { days = 89 } = {}) {
  const folder = tempFolder();
  openssl(folder, 'req', '-x509', ...curve, '-subj', '/CN=Authority of a test', '-days', '3650', '-keyout', 'ca.key', '-out', 'ca.pem',
    '-addext', 'keyUsage=critical,keyCertSign,cRLSign');
  openssl(folder, 'req', ...curve, '-subj', `/CN=${name}`, '-keyout', 'key.pem', '-out', 'request.pem');
  fs.writeFileSync(path.join(folder, 'more'), `subjectAltName=DNS:${name}\nbasicConstraints=critical,CA:FALSE\n`
    + 'keyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth\ncrlDistributionPoints=URI:http://authority.example/list.crl\n');
  openssl(folder, 'x509', '-req', '-in', 'request.pem', '-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', String(days),
    '-sha256', '-extfile', 'more', '-out', 'own.pem');
  const at = (file) => path.join(folder, file);
  fs.writeFileSync(at('chain.pem'), fs.readFileSync(at('own.pem'), 'utf8') + fs.readFileSync(at('ca.pem'), 'utf8'));
  return { authority: at('ca.pem'), certificate: at('chain.pem'), key: at('key.pem'), ca: fs.readFileSync(at('ca.pem'), 'utf8') };
}
