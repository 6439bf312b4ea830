// A real OpenID provider, with the accounts that a test names: node provider.mjs <folder of oidc-provider> <settings as JSON>.
// Its keys are new with each start. It says "listening" once it does.
import { generateKeyPairSync } from 'node:crypto';
import { pathToFileURL } from 'node:url';

const [folder, text] = process.argv.slice(2);
const { port, client, accounts } = JSON.parse(text);
const { Provider } = await import(pathToFileURL(`${folder}/node_modules/oidc-provider/lib/index.js`));

const key = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' });
const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [{ ...client, backchannel_logout_session_required: true }],
  jwks: { keys: [{ ...key, kid: `key-${Date.now()}`, use: 'sig', alg: 'RS256' }] },
  cookies: { keys: ['not a secret'] },
  scopes: ['openid', 'email', 'groups'],
  claims: { openid: ['sub'], email: ['email', 'email_verified'], groups: ['groups'] },
  // It tells clients of signing out, and would not speak to this very machine.
  fetch: (url, { dispatcher, ...options }) => fetch(url, options),
  features: { backchannelLogout: { enabled: true } },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, email: `${id}@example.com`, email_verified: true, groups: accounts[id] ?? [] }),
  }),
});
provider.on('server_error', (_, error) => console.error(error));
provider.on('backchannel.error', (_, error) => console.error(error));
provider.listen(port, '127.0.0.1', () => console.log('listening'));
