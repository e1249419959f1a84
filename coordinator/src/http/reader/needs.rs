//! Which of several fields a request must give.

use super::{Invalid, Reader};
use crate::http::asked::Need;

/// Whether a field was given, be it wrong.
pub(in crate::http) fn given<T>(read: &Result<Option<T>, Invalid>) -> bool {
    !matches!(read, Ok(None))
}

/// Whether a list was given that has something in it, be it wrong.
pub(in crate::http) fn filled<T>(read: &Result<Option<Vec<T>>, Invalid>) -> bool {
    match read {
        Ok(values) => values.as_ref().is_some_and(|values| !values.is_empty()),
        Err(Invalid) => true,
    }
}

/// Fields by name, and whether they are there.
type Fields<'f> = &'f [(&'f str, bool)];

impl Reader<'_> {
    /// Refuses a request that gives none of these fields; `given` says which are.
    pub fn any_of(&mut self, fields: Fields<'_>) {
        self.need(fields, false, false);
    }

    /// Refuses a request that gives none of these lists with anything in it; `filled` says which are.
    pub fn any_filled(&mut self, fields: Fields<'_>) {
        self.need(fields, false, true);
    }

    /// Refuses a request that does not give exactly one of these fields; `given` says which are.
    pub fn one_of(&mut self, fields: Fields<'_>) {
        self.need(fields, true, false);
    }

    fn need(&mut self, fields: Fields<'_>, one_only: bool, filled: bool) {
        let names: Vec<_> = fields.iter().map(|(name, _)| (*name).to_owned()).collect();
        if let Some(notes) = &self.notes {
            notes.need(Need {
                names,
                one_only,
                filled,
            });
            return;
        }
        let mut given = fields.iter().filter(|(_, is_given)| *is_given);
        match (given.next(), given.next()) {
            (None, _) => {
                let [first, others @ ..] = names.as_slice() else {
                    return;
                };
                self.wrong(first, format!("Required, or {}", others.join(", or ")));
            }
            (Some(_), Some((second, _))) if one_only => {
                self.wrong(second, format!("give only one of {}", names.join(", ")));
            }
            (Some(_), _) => {}
        }
    }
}
