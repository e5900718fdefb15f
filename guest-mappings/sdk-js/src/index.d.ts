/**
 * For the authors of mapping modules.
 *
 * A mapping is a pure function from an event, settings and facts to a plan. It does no I/O: what it does not know it
 * asks for, with `cx.lookup`, `cx.reference` and `cx.query`. A question whose answer is not known yet throws a `Need`;
 * the host fetches the answer and calls the mapping again, from the beginning. Never catch a `Stop`.
 *
 * ```ts
 * export default {
 *   description: { name: 'charge-to-order', version: '1.0.0', summary: 'A charge becomes an order.',
 *     serves: [{ system: 'stripe', kind: 'charge.succeeded' }],
 *     connections: [{ name: 'erp', connector: 'http', operations: ['request.post'] }],
 *     tables: [{ name: 'customers', summary: 'Stripe customer to ours' }] },
 *   map(cx) {
 *     const charge = objectOf(cx);
 *     const amount = captured(charge);                      // a skip, when no money moved
 *     const ours = cx.lookup<string>('customers', charge.customer);
 *     if (ours === null) reject('/data/object/customer', 'unknown-customer', charge.customer);
 *     return { deliveries: [{ key: 'order', connection: 'erp', operation: 'request.post',
 *       body: { path: '/orders', body: { customer: ours, amount: amount.decimal() } } }] };
 *   },
 * } satisfies Mapping;
 * ```
 */

/** What JSON can say. A `Decimal` becomes a text. */
export type Json = null | boolean | number | string | Decimal | readonly Json[] | { readonly [name: string]: Json | undefined };

/** A mapping: what it is, and what it makes of an event. */
export interface Mapping<Settings = Record<string, any>> {
  description: Description;
  /** Called again, from the beginning, when facts have arrived; so it may depend on nothing but the context. */
  map(cx: Cx<Settings>): Plan;
}

/** What a module is and may do. What is not declared here is refused at run time. */
export interface Description {
  /** Lower-case letters, digits and dashes. */
  name: string;
  /** Semantic version. */
  version: string;
  /** One sentence. */
  summary: string;
  /** The events it serves; a kind may end in `.*`. */
  serves: { system: string; kind: string }[];
  /** The connections it uses, with every operation, reads and writes. */
  connections?: { name: string; connector: string; operations: string[]; optional?: boolean }[];
  /** Lookup tables it reads, with what they map, for the person who fills them. */
  tables?: { name: string; summary: string }[];
  /** JSON Schema (2020-12) of its settings. */
  settings?: object;
}

/** One received, stored, unchanging request. */
export interface Event {
  /** The host's id, `evt_…`. */
  id: string;
  /** The tenant's name for the source. */
  source: string;
  /** `stripe`, `sap-ecc`, `epicor`, `sage-pro`, `http`. */
  system: string;
  /** What happened, in the words of that system. */
  kind: string;
  /** The object it happened to. */
  objectId: string | null;
  /** Milliseconds since 1970, by the source's clock. */
  occurredAt: number;
  /** Milliseconds since 1970, by the host's clock: the only "now" there is. */
  receivedAt: number;
  mediaType: string;
  /** The body as received. */
  payload: string;
}

/** All that a call of a mapping knows. */
export class Cx<Settings = Record<string, any>> {
  readonly event: Event;
  readonly environment: 'sandbox' | 'qa' | 'production';
  /** From 1; more after deferrals. */
  readonly attempt: number;
  /** The mapping's settings, valid against the module's schema. */
  readonly settings: Settings;
  /** Lines that are kept with the run, even when the module fails. */
  readonly log: { debug(text: unknown): void; info(text: unknown): void; warn(text: unknown): void; error(text: unknown): void };
  /** The payload as JSON. */
  payload(): any;
  /** A row of a lookup table, or null when the table has no such key. */
  lookup<T = any>(table: string, key: string): T | null;
  /** Under which ids other systems know an object, by system. Empty when none does. */
  reference(kind: string, id: string): Record<string, string>;
  /** A read through a connection, or null when the system does not have it. */
  query<T = any>(connection: string, operation: string, parameters: Json): T | null;
  /** Several questions at once: what is missing is fetched together, in one round. Answers in their order. */
  all(questions: Question[]): any[];
}

/** A question that is not asked yet. */
export type Question =
  | { lookup: { table: string; key: string } }
  | { reference: { kind: string; id: string } }
  | { query: { connection: string; operation: string; parameters: Json } };

export function lookup(table: string, key: string): Question;
export function reference(kind: string, id: string): Question;
export function query(connection: string, operation: string, parameters: Json): Question;

/** Everything that follows from an event. An empty one is a plan in which nothing is done; what is no plan, a forgotten
 * `return` too, is a `TypeError`. */
export interface Plan {
  /** Carried out after earlier plans with this key. Default: the event's object. */
  orderingKey?: string;
  deliveries?: Delivery[];
  /** Pairs of ids that are known already. */
  references?: { key: { kind: string; id: string }; system: string; id: string }[];
  /** What people should hear of. */
  alerts?: { severity: 'info' | 'warning' | 'critical'; code: string; title: string; detail?: Json }[];
}

/** The duty to make one outbound call, once. */
export interface Delivery {
  /** Unique in the plan and stable: idempotency keys are derived from it. Never rename it in a new version. */
  key: string;
  connection: string;
  operation: string;
  /** What to send. Amounts are texts or `Decimal`s: a number that is no safe integer is a `TypeError`. */
  body: Json;
  /** Keys of deliveries that must have succeeded first. */
  after?: string[];
  /** Values of earlier responses to copy into the body: JSON Pointers. */
  bindings?: Binding[];
  /** The economic fact that it records: of all deliveries that name the same one, one call is made. */
  once?: string;
  /** How to find out whether the document is there already: `always(…)` or `inDoubt(…)`. */
  unless?: Check;
  /** Ids to remember from the response: `capture(…)`. */
  captures?: Capture[];
  /** The accounting lines it stands for; those of a plan must balance: `debit(…)`, `credit(…)`. */
  ledger?: LedgerLine[];
}

export interface Binding { delivery: string; source: string; target: string }
export interface Check { when: 'always' | 'in-doubt'; operation: string; parameters: Json; hit: string; bindings?: Binding[] }
export interface Capture { key: { kind: string; id: string }; system: string; pointer: string }
export interface LedgerLine { account: string; side: 'debit' | 'credit'; amount: string; currency: string }

/** An existence check that is made before the first send, too: somebody else may have made the document. */
export function always(operation: string, parameters: Json, hit: string): Check;
/** An existence check that is made when an earlier send may have been carried out. */
export function inDoubt(operation: string, parameters: Json, hit: string): Check;
/** Remembers the id at `pointer` of the response as what `system` calls the object. */
export function capture(kind: string, id: string, system: string, pointer: string): Capture;
/** An accounting line on the debit side; a negative amount stands on the other. */
export function debit(account: string, amount: Decimal | string, currency: string): LedgerLine;
/** An accounting line on the credit side; a negative amount stands on the other. */
export function credit(account: string, amount: Decimal | string, currency: string): LedgerLine;

/** Why a mapping stops before it has a plan to carry out. Thrown; never to be caught by a mapping. */
export class Stop extends Error {}
export class Need extends Stop { readonly needs: Question[] }
export class Skip extends Stop {}
export class Defer extends Stop { readonly notBefore?: number }
export class Hold extends Stop { readonly plan: Plan }
export class Reject extends Stop { readonly violations: { pointer: string; code: string; message: string }[] }

/** Nothing to do, on purpose, with the reason that a reader of the event will see. */
export function skip(reason: string): never;
/** Not yet: something the event depends on has not arrived. `notBefore` in milliseconds since 1970. */
export function defer(reason: string, notBefore?: number): never;
/** A person decides; on approval the plan is carried out. */
export function hold(reason: string, plan: Plan): never;
/** The event is unusable: where (a JSON Pointer into the payload), a stable code, and what would be right. */
export function reject(pointer: string, code: string, message: string): never;

/** A decimal number: digits and a scale, exact. In a body it is written as a text. */
export class Decimal {
  constructor(digits: bigint | number, scale: number);
  /** Of a text; a number is refused, which may have been rounded already. */
  static parse(text: Decimal | string): Decimal;
  readonly digits: bigint;
  readonly scale: number;
  /** With so many decimals; refuses to lose a digit. */
  rescale(scale: number): Decimal;
  plus(other: Decimal): Decimal;
  minus(other: Decimal): Decimal;
  negated(): Decimal;
  /** Negative, zero or positive, as this is less than, equal to or more than the other. */
  compare(other: Decimal): -1 | 0 | 1;
  isNegative(): boolean;
  toString(): string;
  toJSON(): string;
}

/** An amount as Stripe counts it: whole minor units of a currency with 0, 2 or 3 decimals. */
export class Money {
  constructor(minor: bigint | number, currency: string);
  /** A decimal in Stripe's minor unit; refuses what would lose a digit. */
  static fromDecimal(amount: Decimal | string, currency: string): Money;
  readonly minor: bigint;
  /** ISO 4217, upper-case. */
  readonly currency: string;
  /** As a decimal, with the currency's own decimals or as many as the receiver keeps. */
  decimal(decimals?: number): Decimal;
  /** Splits by weights into parts that the currency can be paid in; the parts add up to the whole. */
  split(weights: (bigint | number)[]): Money[];
  /** Unit prices under which `quantity` pieces cost exactly this: one, or two that differ by one unit. */
  unitPrices(quantity: number, decimals?: number): [number, Decimal][];
  toString(): string;
}

/** Splits a whole number by weights; what is left over goes to the largest remainders. */
export function split(total: bigint | number, weights: (bigint | number)[]): bigint[];
export function unitPrices(total: bigint | number, quantity: number): [number, bigint][];

/** The day (YYYY-MM-DD) that it is at `seconds` since 1970 in a time zone of the IANA database. */
export function inZone(seconds: number, zone: string): string;
/** When a day begins in a time zone, in seconds since 1970. */
export function startOfDay(day: string, zone: string): number;
/** A day as SAP writes it: YYYYMMDD. */
export function dats(day: string): string;
export function daysAfter(day: string, days: number): string;
/** A time as ISO 8601 in UTC: 2026-11-20T23:30:00Z. */
export function toIso(seconds: number): string;

/** A field of an ERP by its name there, and how many characters it holds. */
export interface Field {
  readonly name: string;
  readonly charsMax: number;
  /** The value, when it fits and has no control characters. */
  text(value: string): string;
  /** The value of a field that may not be empty. */
  required(value: string | null | undefined): string;
  /** The value, cut to fit: for descriptions, which identify nothing. */
  shortened(value: string): string;
}
export function field(name: string, charsMax: number): Field;
/** SAP's ALPHA conversion: all digits are padded with zeros, anything else is upper-case. */
export function alpha(of: Field, value: string): string;
/** SAP's NUMC: digits, padded with zeros. */
export function numc(of: Field, value: number): string;

/** 16 characters that stand for an id, where a reference holds no more. */
export function shortReference(id: string): string;
/** The first characters of the short reference. */
export function shortPrefix(id: string, chars: number): string;

/** The object of a Stripe event. */
export function objectOf<T = any>(cx: Cx<any>): T;
/** What was really captured of a charge. A skip, when it is only authorized, or nothing was captured. */
export function captured(charge: { id: string; captured?: boolean; amount: number; amount_captured?: number | null; currency: string }): Money;

/** A case: see `portolan module test`. */
export interface Case {
  about?: string;
  event: { system: string; payload?: unknown; payload_file?: string; [name: string]: unknown };
  environment?: string;
  attempt?: number;
  settings?: Record<string, unknown>;
  facts?: { need: Question; answer: unknown }[];
  expect?: Outcome;
}

/** What a mapping decided, in the contract's JSON form. */
export type Outcome = Record<string, any>;

/** What a module exports, of a mapping and the log of the contract. */
export function component(mapping: Mapping<any>, write: (level: any, text: string) => void): object;
/** A mapping's description with every field of the contract. */
export function describe(mapping: Mapping<any>): Record<string, unknown>;
