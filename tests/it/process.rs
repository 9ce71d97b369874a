//! The program as a whole: how it starts, what it says when something is missing, how it ends.

mod listen;
mod lists;
mod start;
mod stop;
mod trust;
mod work;
