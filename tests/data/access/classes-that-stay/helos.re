/^[0-9.]+$/ REJECT A bare address
/^localhost$/ 450 4.7.1 Come back
