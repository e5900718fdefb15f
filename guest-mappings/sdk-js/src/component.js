// Between a mapping and the contract: what the sandbox hands over becomes plain JSON, what the mapping returns or
// throws becomes an outcome.

import { Cx } from './cx.js';
import { wholePlan } from './plan.js';
import { Defer, Hold, Need, Reject, Skip, Stop } from './stop.js';

/** One call of a mapping, in the contract's JSON form: input to outcome. What is no Stop is thrown on. */
export function transform(mapping, input, write = () => {}) {
  const cx = new Cx(input, logOf(write));
  try {
    const plan = wholePlan(mapping.map(cx));
    if (cx.asked) throw caught(cx.asked);
    return { deliver: plan };
  } catch (stop) {
    if (stop instanceof Need) return { need: stop.needs };
    if (cx.asked && stop instanceof Stop) throw caught(cx.asked);
    if (stop instanceof Skip) return { skip: stop.message };
    if (stop instanceof Defer) return { defer: { reason: stop.message, 'not-before': stop.notBefore ?? null } };
    if (stop instanceof Hold) return { hold: { reason: stop.message, plan: wholePlan(stop.plan) } };
    if (stop instanceof Reject) return { reject: stop.violations };
    throw stop;
  }
}

/** A mapping that goes on without the answer that it asked for has made it up. */
const caught = (questions) =>
  new TypeError(`a Stop was caught, so ${JSON.stringify(questions)} was never answered: throw on what is a Stop`);

/** A mapping's description with every field of the contract. */
export function describe(mapping) {
  const { name, version, summary, serves, connections, tables, settings } = mapping.description;
  return {
    name,
    version,
    summary,
    serves: serves ?? [],
    connections: (connections ?? []).map((one) => ({ optional: false, ...one })),
    tables: tables ?? [],
    'settings-schema': settings ?? { type: 'object' },
  };
}

function logOf(write) {
  const at = (level) => (text) => write(level, String(text));
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

/** What a module exports: `export const mapper = component(mapping, write)`. */
export function component(mapping, write) {
  return {
    describe() {
      const { 'settings-schema': settingsSchema, ...rest } = describe(mapping);
      return { ...rest, settingsSchema: JSON.stringify(settingsSchema) };
    },
    transform(input) {
      try {
        return outcomeOut(transform(mapping, inputIn(input), write));
      } catch (error) {
        // The sandbox says that it trapped; only the mapping knows where.
        write('error', error instanceof Error ? `${error.name}: ${error.message}\n${error.stack}` : String(error));
        throw error;
      }
    },
  };
}

// From the component model's form to JSON's: kebab-case names, an object with its case as the only key for a variant.

function inputIn({ event, environment, attempt, settings, facts }) {
  return {
    event: {
      id: event.id,
      source: event.source,
      system: event.system,
      kind: event.kind,
      objectId: event.objectId ?? null,
      occurredAt: Number(event.occurredAt),
      receivedAt: Number(event.receivedAt),
      mediaType: event.mediaType,
      payload: event.payload,
    },
    environment,
    attempt,
    settings: JSON.parse(settings),
    facts: facts.map(({ need, answer }) => ({ need: needIn(need), answer: answerIn(answer) })),
  };
}

function needIn({ tag, val }) {
  return { [tag]: tag === 'query' ? { ...val, parameters: JSON.parse(val.parameters) } : val };
}

function answerIn({ tag, val }) {
  if (tag === 'absent') return 'absent';
  return { [tag]: tag === 'found' ? JSON.parse(val) : val };
}

function outcomeOut(outcome) {
  const [[tag, val]] = Object.entries(outcome);
  switch (tag) {
    case 'deliver':
      return { tag, val: planOut(val) };
    case 'hold':
      return { tag, val: { reason: val.reason, plan: planOut(val.plan) } };
    case 'need':
      return { tag, val: val.map(needOut) };
    case 'defer':
      return { tag, val: { reason: val.reason, notBefore: val['not-before'] ?? undefined } };
    default:
      return { tag, val };
  }
}

function needOut(need) {
  const [[tag, val]] = Object.entries(need);
  return { tag, val: tag === 'query' ? { ...val, parameters: JSON.stringify(val.parameters) } : val };
}

function planOut(plan) {
  return {
    orderingKey: plan['ordering-key'] ?? undefined,
    deliveries: plan.deliveries.map((delivery) => ({
      ...delivery,
      body: JSON.stringify(delivery.body),
      once: delivery.once ?? undefined,
      unless: delivery.unless ? { ...delivery.unless, parameters: JSON.stringify(delivery.unless.parameters) } : undefined,
    })),
    references: plan.references,
    alerts: plan.alerts.map((alert) => ({ ...alert, detail: JSON.stringify(alert.detail) })),
  };
}

export { Stop };
