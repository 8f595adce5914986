DROP INDEX stripe.command_host_account_idx;
DROP INDEX stripe.command_checkout_idx;
