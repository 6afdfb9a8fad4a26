module tee-gateway/nitro/init

go 1.26
