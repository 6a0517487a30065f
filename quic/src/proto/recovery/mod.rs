//! Loss detection (RFC 9002 §6 and Appendix A).
