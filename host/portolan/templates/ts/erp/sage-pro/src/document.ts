// The invoice in Sage Pro, with its payment: one document for both. The gateway recognises a second one by its
// ExternalRef, so it is asked only when an earlier send may have been carried out (`inDoubt`).

import { type Cx, type Delivery, capture, credit, debit, field, inDoubt, shortReference } from 'portolan-sdk';

import type { Sale } from './mapping';

/** Everything that the module does in Sage Pro. */
export const operations = ['invoice.find', 'invoice.create'];

const CUST_NO = field('CustNo', 6);
const EXTERNAL_REF = field('ExternalRef', 64);
const ITEM = field('Item', 15);
const DESCRIP = field('Descrip', 35);
const ACCOUNT = field('Account', 24);

export interface DocumentSettings {
  /** The item that is sold. */
  item: string;
  /** Where Stripe's money is until it is paid out. */
  clearing_account: string;
  /** What is earned. */
  sales_account: string;
}

export function delivery(_: Cx<unknown>, settings: DocumentSettings, sale: Sale): Delivery {
  const reference = EXTERNAL_REF.required(sale.charge);
  const amount = sale.amount.decimal();
  const { currency } = sale.amount;
  return {
    key: 'invoice',
    connection: 'erp',
    operation: 'invoice.create',
    body: {
      CustNo: CUST_NO.required(sale.customer),
      ExternalRef: reference,
      PONum: shortReference(sale.charge),
      InvoiceDate: sale.day,
      Currency: currency,
      Tax: amount.minus(amount),
      Lines: [{ Item: ITEM.required(settings.item), Descrip: DESCRIP.shortened(sale.text), Qty: 1, Price: amount }],
      Payment: { Amount: amount, Date: sale.day, Method: 'STRIPE', Reference: reference },
      PaymentStatus: 'Paid',
    },
    once: `payment/${sale.charge}`,
    unless: inDoubt('invoice.find', { ExternalRef: reference }, '/InvNo'),
    captures: [capture('stripe.charge', sale.charge, 'sage-pro.invoice', '/InvNo')],
    // What the document stands for; the host checks that debits are credits.
    ledger: [
      debit(ACCOUNT.required(settings.clearing_account), amount, currency),
      credit(ACCOUNT.required(settings.sales_account), amount, currency),
    ],
  };
}
