// Why a mapping stops before it has a plan to carry out. All of these are thrown.

export class Stop extends Error {}

/** Facts are missing: the host fetches them and calls again. */
export class Need extends Stop {
  constructor(needs) {
    super(`needs ${needs.length} facts`);
    this.needs = needs;
  }
}

/** Nothing to do, on purpose. */
export class Skip extends Stop {}

/** Not yet: something that the event depends on has not arrived. */
export class Defer extends Stop {
  constructor(reason, notBefore) {
    super(reason);
    this.notBefore = notBefore;
  }
}

/** A plan that a person must approve first. */
export class Hold extends Stop {
  constructor(reason, plan) {
    super(reason);
    this.plan = plan;
  }
}

/** The event cannot be used. */
export class Reject extends Stop {
  constructor(violations) {
    super(violations.map((violation) => violation.message).join('; '));
    this.violations = violations;
  }
}

export function skip(reason) {
  throw new Skip(reason);
}

export function defer(reason, notBefore) {
  throw new Defer(reason, notBefore);
}

export function hold(reason, plan) {
  throw new Hold(reason, plan);
}

export function reject(pointer, code, message) {
  throw new Reject([{ pointer, code, message }]);
}
