//! Operators that a model defines itself: a call is the body with the call's inputs and attributes.

use std::collections::HashMap;
use std::rc::Rc;

use super::import::Versions;
use super::importer::{Bound, Frame, Importer};
use super::schema::{FunctionProto, NodeProto};
use crate::error::ImportError;

impl Importer<'_> {
    /// Reads the body of a function in the place of the node that calls it.
    pub(super) fn call(&mut self, function: &FunctionProto, node: &NodeProto) -> Result<(), ImportError> {
        let versions = if function.opset_import.is_empty() {
            self.versions()
        } else {
            Rc::new(Versions::of(&function.opset_import)?)
        };
        let mut frame = Frame::new(versions, true);
        frame.attributes = self.arguments(function, node);
        let inputs: Vec<Bound> =
            node.input.iter().map(|name| self.lookup(name).unwrap_or(Bound::Absent)).collect();
        let name = function.name.as_deref().unwrap_or("");
        let results = self.nested(frame, |m| {
            for (i, parameter) in function.input.iter().enumerate() {
                m.bind(parameter, inputs.get(i).cloned().unwrap_or(Bound::Absent));
            }
            m.nodes(&function.node)?;
            m.results(function.output.iter().cloned(), name)
        })?;
        for (out, bound) in node.output.iter().zip(results) {
            self.bind(out, bound);
        }
        Ok(())
    }

    /// The attributes of a call, and the defaults of those it leaves out.
    fn arguments(
        &self,
        function: &FunctionProto,
        node: &NodeProto,
    ) -> HashMap<String, super::schema::AttributeProto> {
        let defaults =
            function.attribute_proto.iter().map(|a| (a.name.clone().unwrap_or_default(), a.clone()));
        let mut arguments: HashMap<_, _> = defaults.collect();
        for a in &node.attribute {
            if let Some(resolved) = self.resolve(a) {
                arguments.insert(a.name.clone().unwrap_or_default(), resolved.into_owned());
            }
        }
        arguments
    }
}
