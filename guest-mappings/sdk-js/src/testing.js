// The cases of a folder, natively in Node: the same files that `portolan module test` runs in the sandbox. For
// `npm test`; no part of a module.

import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { test } from 'node:test';

import { transform } from './component.js';
import { canonical } from './cx.js';

const RECEIVED_AT = 1795217401000;
const ROUNDS_MAX = 8;

/** Makes a test of every case of a folder. */
export function cases(mapping, folder) {
  const files = existsSync(folder) ? readdirSync(folder, { recursive: true }).filter((name) => name.endsWith('.json')) : [];
  assert.ok(files.length > 0, `${folder} holds no cases`);
  for (const name of files.sort()) {
    const file = join(folder, name);
    test(relative(folder, file), () => {
      const one = JSON.parse(readFileSync(file, 'utf8'));
      assert.ok(one.expect, 'the case expects nothing yet: `portolan module test --update` writes what comes out');
      const got = JSON.parse(JSON.stringify(run(mapping, one, dirname(file))));
      assert.deepEqual(compact(got), compact(one.expect));
    });
  }
}

/** Runs a case to its outcome. */
export function run(mapping, one, folder = '.') {
  const known = new Map((one.facts ?? []).map(({ need, answer }) => [canonical(need), answer]));
  const facts = [];
  for (let round = 0; round < ROUNDS_MAX; round += 1) {
    const outcome = transform(mapping, inputOf(one, facts, folder));
    if (!('need' in outcome)) return outcome;
    for (const need of outcome.need) {
      const answer = known.get(canonical(need));
      assert.notEqual(answer, undefined, `the case has no fact for this need: ${JSON.stringify({ need, answer: 'absent' })}`);
      facts.push({ need, answer });
    }
  }
  throw new Error(`the mapping still asks after ${ROUNDS_MAX} rounds`);
}

function inputOf(one, facts, folder) {
  const told = one.event;
  const raw = told.payload_file === undefined ? told.payload : readFileSync(join(folder, told.payload_file), 'utf8');
  const payload = typeof raw === 'string' ? raw : JSON.stringify(raw);
  let json;
  try {
    json = JSON.parse(payload);
  } catch {
    json = null;
  }
  const receivedAt = told['received-at'] ?? RECEIVED_AT;
  const created = json?.created === undefined ? receivedAt : json.created * 1000;
  return {
    event: {
      id: told.id ?? 'evt_00000000000000000000000000',
      source: told.source ?? 'case',
      system: told.system,
      kind: told.kind ?? json?.type ?? '',
      objectId: told['object-id'] ?? json?.data?.object?.id ?? null,
      occurredAt: told['occurred-at'] ?? created,
      receivedAt,
      mediaType: told['media-type'] ?? 'application/json',
      payload,
    },
    environment: one.environment ?? 'sandbox',
    attempt: one.attempt ?? 1,
    settings: one.settings ?? {},
    facts,
  };
}

const isEmpty = (value) => value === null || value === undefined || (Array.isArray(value) && value.length === 0);

function dropEmpty(object, fields) {
  return Object.fromEntries(Object.entries(object).filter(([name, value]) => !(fields.includes(name) && isEmpty(value))));
}

/** An outcome without the fields of plans that say nothing. */
export function compact(outcome) {
  if (outcome.deliver) return { deliver: compactPlan(outcome.deliver) };
  if (outcome.hold) return { hold: { ...outcome.hold, plan: compactPlan(outcome.hold.plan) } };
  if (outcome.defer) return { defer: dropEmpty(outcome.defer, ['not-before']) };
  return outcome;
}

function compactPlan(plan) {
  const deliveries = plan.deliveries?.map((delivery) => {
    const unless = delivery.unless ? dropEmpty(delivery.unless, ['bindings']) : null;
    return dropEmpty({ ...delivery, unless }, ['after', 'bindings', 'once', 'unless', 'captures', 'ledger']);
  });
  return dropEmpty({ ...plan, deliveries }, ['ordering-key', 'references', 'alerts', 'deliveries']);
}
