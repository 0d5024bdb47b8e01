// pg.Pool with many clients, LISTEN / NOTIFY, a refused COPY.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import pg from 'pg';
import { failure, settings, withClient } from './support.js';

for (const login of ['app-int', 'app-prod', 'alice-prod']) {
  test(`pool of many clients, ${login}`, async () => {
    const pool = new pg.Pool(settings(login, { max: 25 }));
    try {
      const answers = await Promise.all(Array.from({ length: 500 }, (_, i) => pool.query('SELECT $1::int AS i', [i])));
      assert.deepEqual(answers.map((a) => a.rows[0].i), Array.from({ length: 500 }, (_, i) => i));
      await Promise.all(Array.from({ length: 100 }, async (_, i) => {
        const client = await pool.connect();
        try {
          await client.query('BEGIN');
          const { rows } = await client.query('SELECT txid_current_if_assigned() IS NULL AS fresh, $1::int AS i', [i]);
          assert.deepEqual(rows, [{ fresh: true, i }]);
          await client.query('COMMIT');
        } finally {
          client.release();
        }
      }));
    } finally {
      await pool.end();
    }
  });
}

test('each client of a pool keeps its own settings', async () => {
  const pool = new pg.Pool(settings('app-prod', { max: 20 }));
  try {
    const clients = await Promise.all(Array.from({ length: 20 }, () => pool.connect()));
    await Promise.all(clients.map((c, i) => c.query(`SET application_name = 'client ${i}'`)));
    for (let turn = 0; turn < 5; turn++) {
      const names = await Promise.all(clients.map((c) => c.query('SHOW application_name')));
      assert.deepEqual(names.map((r) => r.rows[0].application_name), clients.map((_, i) => `client ${i}`));
    }
    clients.forEach((c) => c.release());
  } finally {
    await pool.end();
  }
});

test('LISTEN and NOTIFY', () => withClient('app-int', (listener) => withClient('app-int', async (sender) => {
  await listener.query('LISTEN node_news');
  const arrived = once(listener, 'notification');
  await sender.query("SELECT pg_notify('node_news', 'hello node')");
  const [notification] = await arrived;
  assert.equal(notification.channel, 'node_news');
  assert.equal(notification.payload, 'hello node');
})));

test('COPY FROM STDIN without data is failed by the driver and the session goes on', () => withClient('app-int', async (client) => {
  // pg without pg-copy-streams answers CopyInResponse with CopyFail.
  const error = await failure(client.query('COPY email_threads (subject) FROM STDIN'));
  assert.equal(error.code, '57014');
  assert.equal((await client.query('SELECT 1 AS a')).rows[0].a, 1);
}));
