// The cases of cases/, natively: as fast as a test can be. `portolan module test` runs the same ones in the sandbox.
import { fileURLToPath } from 'node:url';

import { cases } from 'portolan-sdk/testing';

import mapping from '../build/native.mjs';

cases(mapping, fileURLToPath(new URL('../cases', import.meta.url)));
