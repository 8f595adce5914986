//! Starts the servers and the services that tests and `make` need.
