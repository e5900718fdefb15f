// A captured charge of Stripe becomes one document in __ERP__: __DOCUMENT__.
//
// What is decided here is the same for every ERP: whether money moved, whose it is, on which day, how much. How the
// document is written down is document.js's to know.

import { Decimal, captured, hold, inZone, objectOf, reject, skip } from 'portolan-sdk';

import { delivery, operations } from './document.js';
import settings from './settings.schema.json' with { type: 'json' };

/** The tenant's own table: Stripe's customer to the customer number in __ERP__. */
const CUSTOMERS = 'customers';

const mapping = {
  description: {
    name: '__NAME__',
    version: '0.1.0',
    summary: 'A Stripe charge becomes __DOCUMENT__ in __ERP__.',
    serves: [{ system: 'stripe', kind: 'charge.succeeded' }],
    connections: [{ name: 'erp', connector: '__CONNECTOR__', operations }],
    tables: [{ name: CUSTOMERS, summary: 'Stripe customer (cus_…) to customer number in __ERP__' }],
    settings,
  },

  map(cx) {
    const charge = objectOf(cx);
    // A skip, when the charge is only authorized.
    const amount = captured(charge);
    const buyer = charge.customer ?? skip(`${charge.id} is a guest's`);
    // A need, until the host has looked; map is called again then, from the beginning.
    const customer = cx.lookup(CUSTOMERS, buyer);
    if (customer === null) {
      reject('/data/object/customer', 'unknown-customer', `${buyer} is not in the lookup table ${CUSTOMERS}`);
    }
    const sale = {
      charge: charge.id,
      customer,
      amount,
      day: inZone(charge.created, cx.settings.time_zone),
      text: charge.description ?? charge.id,
    };
    const plan = { deliveries: [delivery(cx, cx.settings.document, sale)] };
    const limit = cx.settings.hold_above?.[amount.currency];
    if (limit !== undefined && amount.decimal().compare(Decimal.parse(limit)) > 0) {
      hold(`${amount} is more than ${limit}`, plan);
    }
    return plan;
  },
};

export default mapping;
