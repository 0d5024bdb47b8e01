// What a refused statement looks like to an application.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import pg from 'pg';
import { direct, failure, settings, withClient } from './support.js';

const refused = [
  'DELETE FROM email_drafts',
  { text: 'DELETE FROM email_drafts WHERE $1', values: [true] },
  { name: 'refused', text: 'UPDATE email_drafts SET status = $1', values: ['x'] },
];

test('a refusal is an ordinary error', { skip: direct }, () => withClient('app-prod', async (client) => {
  for (const query of refused) {
    const error = await failure(client.query(query));
    assert.equal(error.code, '42501');
    assert.equal(error.severity, 'ERROR');
    assert.match(error.detail, /^rule unbounded-write: /);
    assert.ok(error.hint);
    assert.equal((await client.query('SELECT 1 AS a')).rows[0].a, 1);
  }
}));

test('a refusal fails the transaction', { skip: direct }, () => withClient('app-prod', async (client) => {
  for (const query of refused.slice(0, 2)) {
    await client.query('BEGIN');
    await client.query("UPDATE projects SET status = 'node refused' WHERE id = 42");
    await failure(client.query(query));
    assert.equal((await failure(client.query('SELECT 1'))).code, '25P02');
    assert.equal((await client.query('COMMIT')).command, 'ROLLBACK');
  }
  const { rows } = await client.query("SELECT count(*)::int AS n FROM projects WHERE status = 'node refused'");
  assert.equal(rows[0].n, 0);
}));

test('a person is read-only on prod', { skip: direct }, () => withClient('alice-prod', async (client) => {
  const error = await failure(client.query('UPDATE projects SET name = $1 WHERE id = $2', ['x', 1]));
  assert.equal(error.code, '25006');
  assert.ok(error.hint);
}));

test('the notice at connect reaches the client', { skip: direct }, async () => {
  const client = new pg.Client(settings('alice-prod'));
  const notices = [];
  client.on('notice', (notice) => notices.push(notice.message));
  await client.connect();
  await client.query('SELECT 1');
  await client.end();
  assert.equal(notices.length, 1);
  assert.match(notices[0], /prod/i);
});
