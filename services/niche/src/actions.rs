//! The tool actions that this service knows by name.

/// Whether some method of the contract asks for this action.
pub fn exists(action: &str) -> bool {
    proto::policy::ALL
        .iter()
        .any(|method| method.permission == Some(action))
}
