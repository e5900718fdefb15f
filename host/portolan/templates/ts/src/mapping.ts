// A captured charge of Stripe becomes one document in __ERP__: __DOCUMENT__.
//
// What is decided here is the same for every ERP: whether money moved, whose it is, on which day, how much. How the
// document is written down is document.ts's to know.

import { Decimal, type Cx, type Mapping, type Money, captured, hold, inZone, objectOf, reject, skip } from 'portolan-sdk';

import { delivery, operations, type DocumentSettings } from './document';
import settings from './settings.schema.json';

/** The tenant's own table: Stripe's customer to the customer number in __ERP__. */
const CUSTOMERS = 'customers';

/** What a tenant sets; settings.schema.json describes it. */
interface Settings {
  /** In which time zone a day begins. */
  time_zone: string;
  /** Above which amount a person looks first, by currency. */
  hold_above?: Record<string, string>;
  /** What the document needs. */
  document: DocumentSettings;
}

/** A sale, as the document needs to know it. */
export interface Sale {
  /** `ch_…` */
  charge: string;
  /** The customer's number in __ERP__. */
  customer: string;
  /** What was captured. */
  amount: Money;
  /** The day it happened, where the tenant is: YYYY-MM-DD. */
  day: string;
  /** For people. */
  text: string;
}

const mapping: Mapping<Settings> = {
  description: {
    name: '__NAME__',
    version: '0.1.0',
    summary: 'A Stripe charge becomes __DOCUMENT__ in __ERP__.',
    serves: [{ system: 'stripe', kind: 'charge.succeeded' }],
    connections: [{ name: 'erp', connector: '__CONNECTOR__', operations }],
    tables: [{ name: CUSTOMERS, summary: 'Stripe customer (cus_…) to customer number in __ERP__' }],
    settings,
  },

  map(cx: Cx<Settings>) {
    const charge = objectOf(cx);
    // A skip, when the charge is only authorized.
    const amount = captured(charge);
    const buyer: string = charge.customer ?? skip(`${charge.id} is a guest's`);
    // A need, until the host has looked; map is called again then, from the beginning.
    const customer = cx.lookup<string>(CUSTOMERS, buyer);
    if (customer === null) {
      reject('/data/object/customer', 'unknown-customer', `${buyer} is not in the lookup table ${CUSTOMERS}`);
    }
    const sale: Sale = {
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
