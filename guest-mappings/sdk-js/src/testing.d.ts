import type { Case, Mapping, Outcome } from './index.d.ts';

/** Makes a `node:test` of every case (`*.json`) of a folder. */
export function cases(mapping: Mapping<any>, folder: string): void;

/** Runs one case to its outcome, as the host would: round after round, with the case's facts. */
export function run(mapping: Mapping<any>, one: Case, folder?: string): Outcome;

/** An outcome without the fields of plans that say nothing. */
export function compact(outcome: Outcome): Outcome;
