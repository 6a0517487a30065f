mod mtu;
