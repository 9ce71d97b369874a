//! What the AWS cache owes an account and its subscribers: few calls, whatever the number of resources and whatever goes
//! wrong, and none for a resource that is gone. Over the in-memory gateway with a clock that runs ahead, and over HTTP
//! with the real SDK.

mod failures;
mod fleet;
mod http;
mod load;
mod subscriptions;
