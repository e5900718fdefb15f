// What the component exports. Nothing to change here.
import { component } from 'portolan-sdk';
import { write } from 'portolan:mapping/log@1.0.0';

import mapping from './mapping.js';

export const mapper = component(mapping, write);
