//! crypto/tls tries every certificate of the pool.

proves!(Go);
