"""The cases of cases/, natively: as fast as a test can be. `portolan module test` runs the same ones in the sandbox.

    python3 -m unittest discover test
"""

import sys
from pathlib import Path

PROJECT = Path(__file__).parent.parent
sys.path[:0] = [str(PROJECT / "src"), str(PROJECT / "vendor")]

from portolan_sdk import testing  # noqa: E402

from mapping import ChargeToDocument  # noqa: E402

Cases = testing.cases(ChargeToDocument(), PROJECT / "cases")
