//! The whole program: its start, its messages about missing parts, and its end.

mod listen;
mod lists;
mod start;
mod stop;
mod trust;
mod work;
