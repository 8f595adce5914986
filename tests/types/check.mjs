// Checks objects against Stripe's type definitions. The argument is a file with
// `[{ "type": "Stripe.Account", "name": "express", "object": {...} }, ...]`.
//
// Each object becomes a constant with its type, so that the compiler names a field
// that is missing, one that the type does not have, and one of a wrong type.
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';

const objects = JSON.parse(readFileSync(process.argv[2], 'utf8'));
const constants = objects.map(({ type, name, object }) => {
  const wire = /^(Page|NewPage)</.test(type) ? type : `Wire<${type}>`;
  return `export const ${name}: ${wire} = ${JSON.stringify(object, null, 2)};\n`;
});
const head = "import type Stripe from 'stripe';\nimport type { NewPage, Page, Wire } from './wire.js';\n\n";
writeFileSync(new URL('objects.ts', import.meta.url), head + constants.join('\n'));
const folder = new URL('.', import.meta.url);
const checked = spawnSync('node_modules/.bin/tsc', ['--project', 'tsconfig.json'], { cwd: folder, stdio: 'inherit' });
process.exit(checked.status ?? 1);
