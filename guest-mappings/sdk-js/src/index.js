// For the authors of mapping modules. A mapping is a function from an event, settings and facts to a plan; what it
// does not know it asks for, and the host calls it again with the answer. Types and docs: index.d.ts.

export { component, describe } from './component.js';
export { Cx, lookup, query, reference } from './cx.js';
export { dats, daysAfter, inZone, startOfDay, toIso } from './date.js';
export { Decimal, Money, split, unitPrices } from './money.js';
export { always, capture, credit, debit, inDoubt } from './plan.js';
export { shortPrefix, shortReference } from './short.js';
export { Defer, Hold, Need, Reject, Skip, Stop, defer, hold, reject, skip } from './stop.js';
export { captured, objectOf } from './stripe.js';
export { alpha, field, numc } from './text.js';
