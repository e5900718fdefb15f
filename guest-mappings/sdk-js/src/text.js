// Fields with a length. What does not fit is refused with the field's name: a truncated id finds the wrong document.
// Texts that identify nothing may be shortened, by name.

import { Reject } from './stop.js';

const count = (text) => [...text].length;
const hasControl = (text) => /[\u0000-\u001f\u007f-\u009f]/.test(text);

function refuse(name, value, why) {
  const shown = JSON.stringify([...String(value)].slice(0, 60).join(''));
  return new Reject([{ pointer: '', code: 'does-not-fit', message: `${name}: ${shown} ${why}` }]);
}

/** A field of an ERP by its name there, and how many characters it holds. */
export function field(name, charsMax) {
  return {
    name,
    charsMax,
    /** The value, when it fits and has no control characters. */
    text(value) {
      if (count(value) > charsMax) {
        throw refuse(name, value, `has ${count(value)} characters, the field holds ${charsMax}`);
      }
      if (hasControl(value)) throw refuse(name, value, 'has control characters');
      return value;
    },
    /** The value of a field that may not be empty. */
    required(value) {
      if (typeof value !== 'string' || value === '') throw refuse(name, value ?? '', 'must not be empty');
      return this.text(value);
    },
    /** The value, cut to fit: for descriptions, which identify nothing. */
    shortened(value) {
      const clean = [...String(value)].map((character) => (hasControl(character) ? ' ' : character));
      if (clean.length <= charsMax) return clean.join('');
      return charsMax === 0 ? '' : `${clean.slice(0, charsMax - 1).join('')}…`;
    },
  };
}

/** With SAP's ALPHA conversion: all digits are padded with zeros, anything else is upper-case. */
export function alpha(of, value) {
  const text = of.required(value.trim());
  return /^[0-9]+$/.test(text) ? text.padStart(of.charsMax, '0') : of.text(text.toUpperCase());
}

/** As SAP's NUMC: digits, padded with zeros. */
export function numc(of, value) {
  return of.text(String(value).padStart(of.charsMax, '0'));
}
