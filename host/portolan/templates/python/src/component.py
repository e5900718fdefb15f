"""What the component exports. Nothing to change here."""

from portolan_sdk.component import export

from mapping import ChargeToDocument

Mapper = export(ChargeToDocument())
