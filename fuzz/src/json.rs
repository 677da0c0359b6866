//! Whether JSON that was written and read again is the same.

use serde::Serialize;
use serde_json::Value;
use std::fmt::Debug;

/// Panics when `again` is not what `first` is. A fraction may differ in its last digit: serde_json reads numbers fast, not exactly.
pub fn assert_same<T: Serialize + PartialEq + Debug>(again: &T, first: &T, written: &str) {
    if again == first {
        return;
    }
    let value = |of: &T| serde_json::to_value(of).expect("what was read can be written");
    assert!(near(&value(again), &value(first)), "written as {written}, {first:?} is read again as {again:?}");
}

fn near(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            let distance = |a: f64, b: f64| (a - b).abs() <= a.abs().max(b.abs()) * 4.0 * f64::EPSILON;
            a == b || a.is_f64() && b.is_f64() && a.as_f64().zip(b.as_f64()).is_some_and(|(a, b)| distance(a, b))
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| near(a, b)),
        (Value::Object(a), Value::Object(b)) => a.len() == b.len() && a.iter().zip(b).all(|((n, a), (m, b))| n == m && near(a, b)),
        (a, b) => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_the_last_digit_of_a_fraction_may_differ() {
        assert!(near(&json!({"a": [1.797_693_134_862_315_7e308]}), &json!({"a": [1.797_693_134_862_315_5e308]})));
        assert!(!near(&json!(0.1), &json!(0.100_000_1)));
        assert!(!near(&json!(9_007_199_254_740_993_u64), &json!(9_007_199_254_740_992_u64)));
        assert!(!near(&json!({"a": 1}), &json!({"b": 1})));
    }
}
