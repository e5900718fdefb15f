// The accounting document in SAP: the clearing account is debited, the customer credited. SAP's reference field holds
// 16 characters, so a short reference stands for the charge's id, and the id itself is in the texts. SAP takes a second
// document with the same reference, so it is asked for one before the first send, too (`always`).

import { alpha, always, capture, credit, dats, debit, field, numc, shortReference } from 'portolan-sdk';

/** Everything that the module does in SAP. */
export const operations = ['accounting-document.find', 'accounting-document.post'];

const COMP_CODE = field('COMP_CODE', 4);
const CUSTOMER = field('CUSTOMER', 10);
const GL_ACCOUNT = field('GL_ACCOUNT', 10);
const HEADER_TXT = field('HEADER_TXT', 25);
const ITEMNO_ACC = field('ITEMNO_ACC', 10);
const ITEM_TEXT = field('ITEM_TEXT', 50);
const USERNAME = field('USERNAME', 12);
const DOC_TYPE = 'DZ';

export function delivery(_, settings, sale) {
  const company = COMP_CODE.required(settings.company_code);
  const account = alpha(GL_ACCOUNT, settings.clearing_account);
  const customer = alpha(CUSTOMER, sale.customer);
  const reference = shortReference(sale.charge);
  const text = ITEM_TEXT.required(sale.charge);
  const amount = sale.amount.decimal();
  const { currency } = sale.amount;
  const items = [numc(ITEMNO_ACC, 1), numc(ITEMNO_ACC, 2)];
  const line = (item, value) => ({ ITEMNO_ACC: item, CURR_TYPE: '00', CURRENCY: currency, AMT_DOCCUR: value });
  return {
    key: 'payment',
    connection: 'erp',
    operation: 'accounting-document.post',
    body: {
      DOCUMENTHEADER: {
        BUS_ACT: 'RFBU',
        COMP_CODE: company,
        DOC_TYPE,
        DOC_DATE: dats(sale.day),
        PSTNG_DATE: dats(sale.day),
        USERNAME: USERNAME.required(settings.user_name),
        HEADER_TXT: HEADER_TXT.shortened(sale.text),
        REF_DOC_NO: reference,
      },
      ACCOUNTGL: [{ ITEMNO_ACC: items[0], GL_ACCOUNT: account, ITEM_TEXT: text, ALLOC_NMBR: reference }],
      ACCOUNTRECEIVABLE: [{ ITEMNO_ACC: items[1], CUSTOMER: customer, ITEM_TEXT: text }],
      CURRENCYAMOUNT: [line(items[0], amount), line(items[1], amount.negated())],
    },
    once: `payment/${sale.charge}`,
    unless: always(
      'accounting-document.find',
      { COMP_CODE: company, FISC_YEAR: fiscalYear(sale.day, settings.fiscal_year_begins ?? 1), DOC_TYPE, REF_DOC_NO: reference },
      '/OBJ_KEY',
    ),
    captures: [capture('stripe.charge', sale.charge, 'sap-ecc.fi', '/OBJ_KEY')],
    // What the document stands for; the host checks that debits are credits.
    ledger: [debit(account, amount, currency), credit(customer, amount, currency)],
  };
}

/** A year that does not begin in January is named after the calendar year in which it ends. */
function fiscalYear(day, begins) {
  const [year, month] = [Number(day.slice(0, 4)), Number(day.slice(5, 7))];
  return String(begins > 1 && month >= begins ? year + 1 : year);
}
