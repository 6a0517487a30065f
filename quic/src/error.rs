//! Public errors: one small enum per operation.
