//! Amazon EventBridge, by an API destination: no topic between it and us.
//!
//! A connection of the type *API key* with the header `X-Firebreak-Token`, a destination that posts to `/hooks/eventbridge`, and
//! a rule without an input transformer:
//!
//! ```json
//! { "source": ["aws.rds", "aws.autoscaling", "aws.cloudwatch"] }
//! ```
//!
//! It waits for five seconds, and delivers an event again for a day under the same id. What it may say: see `aws`.

use super::{Delivered, aws};

pub(super) fn read(body: &[u8]) -> Result<Vec<Delivered>, String> {
    let signal = aws::read("eventbridge", body)?;
    Ok(vec![Delivered { signal, delivery: aws::event_id(body) }])
}
