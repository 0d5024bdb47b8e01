// Simple, parameterised and named queries, errors, transactions.

import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import pg from 'pg';
import { failure, withClient } from './support.js';

for (const login of ['app-int', 'app-prod', 'alice-prod']) {
  describe(login, () => {
    test('simple query with several statements', () => withClient(login, async (client) => {
      const results = await client.query('SELECT 1 AS a; SELECT 2 AS b, 3 AS c');
      assert.deepEqual(results.map((r) => r.rows), [[{ a: 1 }], [{ b: 2, c: 3 }]]);
    }));

    test('parameterised query', () => withClient(login, async (client) => {
      const { rows } = await client.query('SELECT $1::int + 1 AS n, $2::text AS t, $3::text AS missing, $4::int[] AS list',
        [41, 'größe ☃', null, [1, 2]]);
      assert.deepEqual(rows, [{ n: 42, t: 'größe ☃', missing: null, list: [1, 2] }]);
    }));

    test('named statement used many times', () => withClient(login, async (client) => {
      for (let id = 1; id <= 30; id++) {
        const { rows } = await client.query({ name: 'by-id', text: 'SELECT name FROM projects WHERE id = $1', values: [id] });
        assert.equal(rows[0].name, `project ${id}`);
      }
    }));

    test('binary results', () => withClient(login, async (client) => {
      const { rows } = await client.query({ text: 'SELECT $1::int AS n', values: [7], binary: true });
      assert.equal(rows[0].n, 7);
    }));

    test('rows in pieces', () => withClient(login, async (client) => {
      const { rows } = await client.query({ text: 'SELECT i FROM generate_series(1, 250) i', values: [], rows: 100 });
      assert.equal(rows.length, 250);
    }));

    test('an error leaves the session usable', () => withClient(login, async (client) => {
      for (const query of ['SELECT 1/0', { text: 'SELECT 1/$1::int', values: [0] }]) {
        const error = await failure(client.query(query));
        assert.equal(error.code, '22012');
        assert.equal((await client.query('SELECT 1 AS a')).rows[0].a, 1);
      }
      const error = await failure(client.query('SELECT * FROM nosuch'));
      assert.equal(error.code, '42P01');
      assert.equal(error.position, '15');
    }));

    test('queries queued without waiting', () => withClient(login, async (client) => {
      const results = await Promise.all(Array.from({ length: 100 }, (_, i) => client.query('SELECT $1::int AS i', [i])));
      assert.deepEqual(results.map((r) => r.rows[0].i), Array.from({ length: 100 }, (_, i) => i));
    }));
  });
}

for (const login of ['app-int', 'app-prod']) {
  describe(`writing, ${login}`, () => {
    test('transaction', () => withClient(login, async (client) => {
      await client.query('BEGIN');
      await client.query('UPDATE projects SET status = $1 WHERE id = $2', ['node', 40]);
      await client.query('ROLLBACK');
      const { rows } = await client.query('SELECT count(*)::int AS n FROM projects WHERE status = $1', ['node']);
      assert.equal(rows[0].n, 0);
      await client.query('BEGIN');
      const result = await client.query('UPDATE projects SET status = $1 WHERE id = $2 RETURNING id, status', ['node', 41]);
      assert.equal(result.rowCount, 1);
      assert.deepEqual(result.rows, [{ id: '41', status: 'node' }]);
      await client.query('COMMIT');
      await client.query("UPDATE projects SET status = 'active' WHERE id = 41");
    }));

    test('failed transaction', () => withClient(login, async (client) => {
      await client.query('BEGIN');
      assert.equal((await failure(client.query('SELECT 1/0'))).code, '22012');
      assert.equal((await failure(client.query('SELECT 1'))).code, '25P02');
      assert.equal((await client.query('COMMIT')).command, 'ROLLBACK');
    }));
  });
}

test('settings of the session', () => withClient('app-prod', async (client) => {
  assert.equal((await client.query('SHOW application_name')).rows[0].application_name, 'node tests');
  await client.query("SET TIME ZONE 'Asia/Tokyo'");
  assert.equal((await client.query('SHOW TimeZone')).rows[0].TimeZone, 'Asia/Tokyo');
}, { application_name: 'node tests' }));

test('statement_timeout as a connection setting', () => withClient('app-int', async (client) => {
  const error = await failure(client.query('SELECT pg_sleep(20)'));
  assert.equal(error.code, '57014');
}, { statement_timeout: 300 }));

test('wrong password', async () => {
  const error = await failure(withClient('app-int', async () => {}, { password: 'wrong' }));
  assert.equal(error.code, '28P01');
});

test('a Client may end in the middle of a query', async () => {
  await withClient('app-int', async (client) => {
    client.on('error', () => {});
    client.query('SELECT pg_sleep(20)').catch(() => {});
    client.connection.stream.destroy();
  }).catch(() => {});
  await withClient('app-int', async (client) => {
    assert.ok(client instanceof pg.Client);
    assert.equal((await client.query('SELECT 1 AS a')).rows[0].a, 1);
  });
});
