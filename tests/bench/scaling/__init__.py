"""How far it scales: by arithmetic and by simulation, on measured figures."""
