// What a mapping knows and how it asks for more. A question whose answer is among the facts returns it; one that is not
// throws a Need, and the host calls again with the answer. So the code reads as if it did I/O, and does none.

import { Need, Reject } from './stop.js';

/** A row of a lookup table. */
export const lookup = (table, key) => ({ lookup: { table, key } });
/** Under which ids other systems know an object. */
export const reference = (kind, id) => ({ reference: { kind, id } });
/** A read through a connection. */
export const query = (connection, operation, parameters) => ({ query: { connection, operation, parameters } });

/** JSON with the keys of every object in order: two texts are equal when the values are. */
export function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`;
  if (value !== null && typeof value === 'object' && typeof value.toJSON !== 'function') {
    const keys = Object.keys(value).filter((key) => value[key] !== undefined).sort();
    return `{${keys.map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`).join(',')}}`;
  }
  return JSON.stringify(value) ?? 'null';
}

/** All that a call of a mapping knows. */
export class Cx {
  #facts;

  constructor(input, log) {
    this.event = input.event;
    this.environment = input.environment;
    this.attempt = input.attempt;
    this.settings = input.settings;
    this.log = log;
    /** What was asked for and is not known yet: whoever sets it throws, and nobody may catch that. */
    this.asked = null;
    this.#facts = new Map(input.facts.map(({ need, answer }) => [canonical(need), answer]));
  }

  /** The payload as JSON. */
  payload() {
    try {
      return JSON.parse(this.event.payload);
    } catch (error) {
      throw new Reject([{ pointer: '', code: 'unreadable-payload', message: `the payload is no JSON: ${error.message}` }]);
    }
  }

  /** A row of a lookup table, or null when the table has no such key. */
  lookup(table, key) {
    return this.all([lookup(table, key)])[0];
  }

  /** Under which ids other systems know an object, by system. Empty when none does. */
  reference(kind, id) {
    return this.all([reference(kind, id)])[0] ?? {};
  }

  /** A read through a connection, or null when the system does not have it. */
  query(connection, operation, parameters) {
    return this.all([query(connection, operation, parameters)])[0];
  }

  /** Several questions at once: what is missing is fetched together. Answers in their order. */
  all(questions) {
    const missing = new Map();
    const answers = questions.map((need) => {
      const key = canonical(need);
      const answer = this.#facts.get(key);
      if (answer === undefined) missing.set(key, need);
      return answer;
    });
    if (missing.size > 0) {
      this.asked = [...missing.values()];
      throw new Need(this.asked);
    }
    return answers.map((answer, place) => read(answer, questions[place]));
  }
}

function read(answer, need) {
  if (answer === 'absent') return null;
  if ('failed' in answer) {
    const { code, message } = answer.failed;
    throw new Reject([{ pointer: '', code: 'fact-refused', message: `${canonical(need)} was refused: ${code}: ${message}` }]);
  }
  return answer.found;
}
