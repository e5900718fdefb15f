//! Sage Pro's side of the flows.

use portolan_sdk::{
    Cx, Stop,
    contract::Delivery,
    flow::{Block, Credit, Documents, Erp, Flow, Journal, Refund, Reversal, Sale},
    stripe::{Customer, LineSource},
};

use crate::{ITEMS, Settings, block, customer, invoice, journal, receipt, refund};

impl Erp for Settings {
    const SYSTEM: &'static str = crate::SYSTEM;
    const PAYMENT: &'static str = "sage-pro.receipt";
    const JOURNAL: &'static str = "sage-pro.journal";
    const PRODUCTS: &'static str = ITEMS;

    fn flow(&self) -> &Flow {
        &self.flow
    }

    fn time_zone(&self) -> &str {
        &self.time_zone
    }

    fn line_sources(&self) -> &[LineSource] {
        &self.line_sources
    }

    fn sale(&self, cx: &Cx<'_>, sale: &Sale) -> Result<Documents, Stop> {
        match &sale.order {
            Some(order) => receipt::documents(cx, self, sale, order),
            None => invoice::documents(cx, self, sale),
        }
    }

    fn refund(&self, cx: &Cx<'_>, refund: &Refund) -> Result<Documents, Stop> {
        refund::documents(cx, self, refund)
    }

    fn reverse_refund(&self, cx: &Cx<'_>, refund: &Refund) -> Result<Documents, Stop> {
        refund::reversal(cx, self, refund)
    }

    fn credit(&self, cx: &Cx<'_>, credit: &Credit) -> Result<Documents, Stop> {
        refund::credit(cx, self, credit)
    }

    fn journal(&self, _: &Cx<'_>, journal: &Journal) -> Result<Delivery, Stop> {
        journal::delivery(journal)
    }

    fn reverse_journal(&self, _: &Cx<'_>, reversal: &Reversal) -> Result<Delivery, Stop> {
        journal::reversal(reversal)
    }

    fn customer(&self, cx: &Cx<'_>, customer: &Customer) -> Result<Documents, Stop> {
        customer::synchronised(cx, self, customer)
    }

    fn block(&self, cx: &Cx<'_>, block: &Block) -> Result<Documents, Stop> {
        block::documents(cx, self, block)
    }
}
