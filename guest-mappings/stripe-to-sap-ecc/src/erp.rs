//! SAP's side of the flows, method by method. Each lives in a file of its own.

use portolan_sdk::{
    contract::Delivery,
    flow::{Block, Credit, Documents, Erp, Flow, Journal, Refund, Reversal, Sale},
    prelude::*,
    stripe::{Customer, LineSource},
};

use crate::{MATERIALS, Settings, block, credit, customer, journal, refund, sale};

impl Erp for Settings {
    const SYSTEM: &'static str = "sap-ecc";
    const PAYMENT: &'static str = "sap-ecc.fi";
    const JOURNAL: &'static str = "sap-ecc.journal";
    const PRODUCTS: &'static str = MATERIALS;

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
        sale::documents(self, cx, sale)
    }

    fn refund(&self, cx: &Cx<'_>, refund: &Refund) -> Result<Documents, Stop> {
        refund::documents(self, cx, refund)
    }

    fn reverse_refund(&self, cx: &Cx<'_>, refund: &Refund) -> Result<Documents, Stop> {
        refund::reversal(self, cx, refund)
    }

    fn credit(&self, cx: &Cx<'_>, credit: &Credit) -> Result<Documents, Stop> {
        credit::documents(self, cx, credit)
    }

    fn journal(&self, _: &Cx<'_>, journal: &Journal) -> Result<Delivery, Stop> {
        journal::delivery(self, journal)
    }

    fn reverse_journal(&self, _: &Cx<'_>, reversal: &Reversal) -> Result<Delivery, Stop> {
        journal::reversal(self, reversal)
    }

    fn customer(&self, cx: &Cx<'_>, customer: &Customer) -> Result<Documents, Stop> {
        customer::documents(self, cx, customer)
    }

    fn block(&self, _: &Cx<'_>, block: &Block) -> Result<Documents, Stop> {
        block::documents(self, block)
    }
}
