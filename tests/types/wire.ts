// The types of objects as they are sent: a decimal number is text, and the
// functions that the package adds are not there.
import type Stripe from 'stripe';

type Decimal = NonNullable<Stripe.Price['unit_amount_decimal']>;

export type Wire<T> = T extends Decimal
  ? string
  : T extends ReadonlyArray<infer Item>
    ? Array<Wire<Item>>
    : T extends string | number | boolean | null | undefined
      ? T
      : T extends object
        ? { [Name in keyof T as T[Name] extends (...given: never[]) => unknown ? never : Name]: Wire<T[Name]> }
        : T;

/// A page of the first version of the API.
export type Page<T> = { object: 'list'; data: Array<Wire<T>>; has_more: boolean; url: string };

/// A page of the second version.
export type NewPage<T> = { data: Array<Wire<T>>; next_page_url: string | null; previous_page_url: string | null };
