//! `fields=`: which members of an answer the client wants.

use crate::shape::{Form, Kind, Label, ShapeId, Shapes};

/// Which members of `data` the client wants.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Selection(pub(super) Vec<(String, Self)>);

impl Selection {
    /// Reads `id,data.name`. `Err` names the first path that the message does not have.
    pub fn parse(text: &str, shapes: &Shapes, shape: ShapeId) -> Result<Self, String> {
        let mut selection = Self::default();
        for path in text.split(',').map(str::trim) {
            if path.is_empty() || !exists(path, shapes, shape) {
                return Err(path.to_owned());
            }
            selection.add(path);
        }
        Ok(selection)
    }

    fn add(&mut self, path: &str) {
        let (head, rest) = path
            .split_once('.')
            .map_or((path, None), |(head, rest)| (head, Some(rest)));
        let index = self
            .0
            .iter()
            .position(|(name, _)| name == head)
            .unwrap_or_else(|| {
                self.0.push((head.to_owned(), Self::default()));
                self.0.len() - 1
            });
        if let Some(rest) = rest {
            self.0[index].1.add(rest);
        }
    }

    /// What is wanted of a member: nothing, or everything when the inner selection is empty.
    pub(super) fn of(&self, name: &str) -> Option<Option<&Self>> {
        let (_, inner) = self.0.iter().find(|(known, _)| known == name)?;
        Some((!inner.0.is_empty()).then_some(inner))
    }
}

fn exists(path: &str, shapes: &Shapes, shape: ShapeId) -> bool {
    let (head, rest) = path
        .split_once('.')
        .map_or((path, None), |(head, rest)| (head, Some(rest)));
    let shape = shapes.get(shape);
    if matches!(shape.form, Form::Struct | Form::Value) {
        return true;
    }
    let Some(field) = shape.by_json(head) else {
        return false;
    };
    match (rest, field.kind, field.label) {
        (None, _, _) => true,
        (Some(rest), Kind::Message(id), Label::Implicit | Label::Optional | Label::Repeated) => {
            exists(rest, shapes, id)
        }
        (Some(_), _, _) => false,
    }
}
