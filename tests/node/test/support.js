// Where the tests connect to: set by tests/python/test_node.py, which starts the server, or by hand.
//   PGBELAY_TEST_HOST, PGBELAY_TEST_PORT
//   PGBELAY_TEST_LOGINS  JSON: {"app-int": {"user", "password", "database"}, "app-prod": …, "alice-prod": …}
//   PGBELAY_DIRECT=1     the server is Postgres itself: what only the proxy does is skipped

import pg from 'pg';

export const direct = process.env.PGBELAY_DIRECT === '1';
const logins = JSON.parse(process.env.PGBELAY_TEST_LOGINS ?? '{}');

/** Connection settings of one of the logins. */
export function settings(name, extra = {}) {
  const login = logins[name];
  if (!login) throw new Error(`PGBELAY_TEST_LOGINS has no "${name}"; run these tests through tests/python/test_node.py`);
  return {
    host: process.env.PGBELAY_TEST_HOST,
    port: Number(process.env.PGBELAY_TEST_PORT),
    options: '-c pgbelay.reason=TEST-1',
    ...login,
    ...extra,
  };
}

/** Runs `work` with a connected client and closes it. */
export async function withClient(name, work, extra = {}) {
  const client = new pg.Client(settings(name, extra));
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/** The error that `promise` fails with. */
export async function failure(promise) {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error('it did not fail');
}
