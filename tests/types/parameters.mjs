// Writes ../src/stripe_api/parameters.json: the parameters that each request
// takes, read from the type definitions of the package `stripe`.
//
// One line holds one request. A string names a plain type, a name that ends in
// `!` is required, an array holds the type of its items, `|` lists the values
// of an enumeration, and `*` holds the type of the values of a free map.
import { readFileSync, writeFileSync } from 'node:fs';
import ts from 'typescript-parser';

// The request and the type of its parameters.
const REQUESTS = {
  'POST /v1/accounts': 'AccountCreateParams',
  'POST /v1/accounts/{id}': 'AccountUpdateParams',
  'GET /v1/accounts': 'AccountListParams',
  'GET /v1/accounts/{id}': 'AccountRetrieveParams',
  'POST /v1/accounts/{id}/login_links': 'AccountCreateLoginLinkParams',
  'POST /v1/account_links': 'AccountLinkCreateParams',
  'POST /v1/account_sessions': 'AccountSessionCreateParams',
  'GET /v1/tax/settings': 'Tax.SettingsRetrieveParams',
  'GET /v1/tax/registrations': 'Tax.RegistrationListParams',
  'GET /v1/tax_ids': 'TaxIdListParams',
  'GET /v1/events': 'EventListParams',
  'GET /v1/events/{id}': 'EventRetrieveParams',
  'POST /v1/checkout/sessions': 'Checkout.SessionCreateParams',
  'GET /v1/checkout/sessions': 'Checkout.SessionListParams',
  'GET /v1/checkout/sessions/{id}': 'Checkout.SessionRetrieveParams',
  'POST /v1/checkout/sessions/{id}': 'Checkout.SessionUpdateParams',
  'POST /v1/checkout/sessions/{id}/expire': 'Checkout.SessionExpireParams',
  'GET /v1/invoices': 'InvoiceListParams',
  'GET /v1/invoices/{id}': 'InvoiceRetrieveParams',
  'GET /v1/payment_intents/{id}': 'PaymentIntentRetrieveParams',
  'GET /v1/charges/{id}': 'ChargeRetrieveParams',
  'POST /v1/refunds': 'RefundCreateParams',
  'GET /v1/refunds/{id}': 'RefundRetrieveParams',
  'POST /v1/credit_notes': 'CreditNoteCreateParams',
  'GET /v1/credit_notes': 'CreditNoteListParams',
  'GET /v1/credit_notes/{id}': 'CreditNoteRetrieveParams',
  'POST /v1/credit_notes/{id}/void': 'CreditNoteVoidCreditNoteParams',
  'POST /v2/core/accounts': 'V2.Core.AccountCreateParams',
  'GET /v2/core/accounts': 'V2.Core.AccountListParams',
  'GET /v2/core/accounts/{id}': 'V2.Core.AccountRetrieveParams',
  'POST /v2/core/account_links': 'V2.Core.AccountLinkCreateParams',
  'GET /v2/core/events/{id}': 'V2.Core.EventRetrieveParams',
};

const SOURCE = 'generated.ts';
const types = Object.values(REQUESTS);
const text = `import Stripe from 'stripe';\n${types.map((type, at) => `export type T${at} = Stripe.${type};`).join('\n')}\n`;

const options = { strict: true, module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext, target: ts.ScriptTarget.ES2022, types: [] };
const host = ts.createCompilerHost(options);
const readSource = host.getSourceFile.bind(host);
host.getSourceFile = (name, ...rest) =>
  name.endsWith(SOURCE) ? ts.createSourceFile(name, text, ts.ScriptTarget.ES2022) : readSource(name, ...rest);
const exists = host.fileExists.bind(host);
host.fileExists = (name) => name.endsWith(SOURCE) || exists(name);
const program = ts.createProgram([SOURCE], options, host);
const checker = program.getTypeChecker();

// A type that holds itself ends here.
const DEEPEST = 12;

function describe(type, depth = 0) {
  if (depth > DEEPEST) return 'any';
  if (type.isUnion()) return describeUnion(type, depth);
  const flags = type.flags;
  if (flags & (ts.TypeFlags.String | ts.TypeFlags.StringLiteral)) return type.isStringLiteral?.() ? { '|': [type.value] } : 'string';
  if (flags & (ts.TypeFlags.Number | ts.TypeFlags.NumberLiteral)) return 'number';
  if (flags & ts.TypeFlags.BooleanLike) return 'boolean';
  if (checker.isArrayType(type)) return [describe(checker.getTypeArguments(type)[0], depth + 1)];
  const index = checker.getIndexInfoOfType(type, ts.IndexKind.String);
  if (index) return { '*': describe(index.type, depth + 1) };
  // `Decimal` and streams are classes: on the wire they are text.
  if (type.isClass?.() || type.isIntersection() || checker.getSignaturesOfType(type, ts.SignatureKind.Call).length) return 'string';
  const symbol = type.getSymbol()?.getName();
  if (symbol === 'Decimal' || symbol === 'Date') return 'string';
  const fields = {};
  for (const property of checker.getPropertiesOfType(type)) {
    const optional = property.flags & ts.SymbolFlags.Optional;
    fields[property.getName() + (optional ? '' : '!')] = describe(checker.getNonNullableType(checker.getTypeOfSymbol(property)), depth + 1);
  }
  return fields;
}

// `''` empties a field, and stands beside the real type.
function describeUnion(type, depth) {
  const parts = type.types.filter((part) => !(part.isStringLiteral() && part.value === '') && !(part.flags & (ts.TypeFlags.Undefined | ts.TypeFlags.Null)));
  const words = parts.filter((part) => part.isStringLiteral()).map((part) => part.value);
  const others = parts.filter((part) => !part.isStringLiteral());
  if (words.length) {
    // The values of a type that more words may join are those that it names.
    return others.every((part) => part.isIntersection() || part.flags & ts.TypeFlags.String) ? { '|': words } : 'any';
  }
  const kinds = [...new Map(others.map((part) => [JSON.stringify(describe(part, depth)), part])).values()];
  return kinds.length === 1 ? describe(kinds[0], depth) : { or: kinds.map((part) => describe(part, depth)) };
}

const source = program.getSourceFile(SOURCE);
const symbols = checker.getExportsOfModule(checker.getSymbolAtLocation(source));
const version = JSON.parse(readFileSync(new URL('node_modules/stripe/package.json', import.meta.url))).version;
const lines = Object.keys(REQUESTS).map((request, at) => {
  const described = describe(checker.getDeclaredTypeOfSymbol(symbols.find((symbol) => symbol.getName() === `T${at}`)));
  if (typeof described === 'string') throw new Error(`${types[at]} is not in the type definitions`);
  return `${JSON.stringify(request)}: ${JSON.stringify(described)}`;
});
const target = process.argv[2] ?? new URL('../src/stripe_api/parameters.json', import.meta.url);
writeFileSync(target, `{\n"stripe": ${JSON.stringify(version)},\n${lines.join(',\n')}\n}\n`);
