// The sales order in Epicor. Epicor takes a second order with the same PONum without a word, so it is asked for one
// before the first send, too (`always`).

import { type Cx, type Delivery, always, capture, field, reject } from 'portolan-sdk';

import type { Sale } from './mapping';

/** Everything that the module does in Epicor. */
export const operations = ['customer.find', 'sales-order.find', 'sales-order.create'];

const CUST_ID = field('CustID', 10);
const PO_NUM = field('PONum', 50);
const PART_NUM = field('PartNum', 50);
const LINE_DESC = field('LineDesc', 1000);

export interface DocumentSettings {
  /** The part that is sold. */
  part: string;
}

export function delivery(cx: Cx<unknown>, settings: DocumentSettings, sale: Sale): Delivery {
  const id = CUST_ID.required(sale.customer);
  // The table knows the CustID; Epicor knows its number.
  const customer = cx.query<{ CustNum: number }>('erp', 'customer.find', { CustID: id });
  if (customer === null) {
    reject('/data/object/customer', 'unknown-customer', `Epicor has no customer ${id}`);
  }
  const poNum = PO_NUM.required(sale.charge);
  const day = `${sale.day}T00:00:00`;
  const line = {
    PartNum: PART_NUM.required(settings.part),
    LineDesc: LINE_DESC.shortened(sale.text),
    SellingQuantity: 1,
    DocUnitPrice: sale.amount.decimal(),
    // The price is per piece, and Epicor's own price lists must not replace it.
    PricePerCode: 'E',
    LockPrice: true,
    OverridePriceList: true,
  };
  return {
    key: 'order',
    connection: 'erp',
    operation: 'sales-order.create',
    body: {
      CustNum: customer.CustNum,
      PONum: poNum,
      OrderDate: day,
      NeedByDate: day,
      RequestDate: day,
      CurrencyCode: sale.amount.currency,
      OrderDtls: [line],
    },
    once: `order/${sale.charge}`,
    unless: always('sales-order.find', { PONum: poNum, Lines: 1 }, '/OrderNum'),
    captures: [capture('stripe.charge', sale.charge, 'epicor.order', '/OrderNum')],
  };
}
