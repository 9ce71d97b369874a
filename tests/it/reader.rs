//! What the certificate reader and the budget owe an account: few calls, whatever the number of resources and whatever
//! goes wrong. Over the in-memory gateway with a clock that runs ahead, and over HTTP with the real SDK.

mod fleet;
mod http;
mod load;
mod trouble;
