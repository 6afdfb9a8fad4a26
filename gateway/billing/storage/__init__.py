"""Where claims and the payment journal are kept: SQLite, PostgreSQL, and sealed copies outside an enclave."""
