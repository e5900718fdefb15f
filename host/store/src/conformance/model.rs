//! placeholder
use super::Place;
pub async fn a_random_history_agrees_with_the_model(_place: &dyn Place) {}
