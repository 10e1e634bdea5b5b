//! `attnc bench`: predictions against measurements.
