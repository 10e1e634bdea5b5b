//! `attnc explain`: how the plan was derived.
